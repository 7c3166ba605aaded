"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const board = document.getElementById("board");
  const body = board.tBodies[0];
  const make = (name, text, classes) => {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (classes) node.className = classes;
    return node;
  };
  for (const node of document.querySelectorAll(".scripted")) node.hidden = false;

  // the leaderboard: sorting, searching, opening a row
  const rows = Array.from(body.rows);
  const extra = new Map();
  const close = (row) => {
    const more = extra.get(row);
    if (!more) return;
    more.remove();
    extra.delete(row);
    row.querySelector(".open").setAttribute("aria-expanded", "false");
  };
  const place = () => { for (const [row, more] of extra) { row.after(more); more.hidden = row.hidden; } };
  for (const head of board.tHead.rows[0].cells) {
    const button = make("button", head.textContent.trim());
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== (head.dataset.first || "ascending");
      const first = head.dataset.first || "ascending";
      const order = up ? first : first === "ascending" ? "descending" : "ascending";
      for (const other of board.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const column = head.cellIndex, sign = order === "ascending" ? 1 : -1;
      const keyed = rows.map((row, at) => {
        const cell = row.cells[column];
        const text = cell.dataset.value ?? cell.textContent.trim();
        return { row, at, text, number: text === "" ? NaN : Number(text) };
      });
      const numeric = keyed.every((it) => it.text === "" || !Number.isNaN(it.number));
      keyed.sort((a, b) => {
        if ((a.text === "") !== (b.text === "")) return a.text === "" ? 1 : -1;
        const by = numeric ? a.number - b.number : a.text.localeCompare(b.text, undefined, { numeric: true });
        return (a.text === "" ? 0 : sign * by) || a.at - b.at;
      });
      body.append(...keyed.map((it) => it.row));
      place();
    });
  }
  const search = document.getElementById("search"), found = document.getElementById("found");
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase().replace(/\s+/g, " ")]));
  search.addEventListener("input", () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      row.hidden = !wanted.every((word) => words.get(row).includes(word));
      count += row.hidden ? 0 : 1;
    }
    place();
    found.textContent = `${count} of ${rows.length} trials`;
  });
  const curve = (key) => {
    const [run, number] = [key.slice(0, key.lastIndexOf("/")), Number(key.slice(key.lastIndexOf("/") + 1))];
    const points = [];
    for (const [name, plot] of Object.entries(data.plots)) {
      if (name !== "curves" && !name.startsWith("curves-run-")) continue;
      if (plot.run !== run) continue;
      const [trials, epochs, , values] = plot.values;
      for (let at = 0; at < trials.length; at++) {
        if (trials[at] === number && values[at] !== null) points.push([epochs[at], values[at]]);
      }
    }
    return points;
  };
  const sketch = (points) => {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg"), line = document.createElementNS(space, "polyline");
    const low = Math.min(...points.map((it) => it[1])), high = Math.max(...points.map((it) => it[1]));
    const last = Math.max(...points.map((it) => it[0])), first = points[0][0];
    const at = ([x, y]) => `${(238 * (x - first)) / (last - first || 1) + 1},${58 - (56 * (y - low)) / (high - low || 1)}`;
    line.setAttribute("points", points.map(at).join(" "));
    svg.setAttribute("viewBox", "0 0 240 60");
    svg.setAttribute("role", "img");
    const percent = (value) => `${(100 * value).toFixed(1)}%`;
    svg.setAttribute("aria-label", `Validation accuracy from ${percent(low)} to ${percent(high)}`);
    svg.append(line);
    return [svg, make("p", `Validation accuracy of epochs ${first} to ${last}: ${percent(low)} to ${percent(high)}`, "soft")];
  };
  const copier = (text) => {
    const button = make("button", "Copy", "button");
    button.type = "button";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text());
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select and copy";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    return button;
  };
  const open = (row) => {
    if (extra.has(row)) return close(row);
    const [ending, command] = data.details[row.dataset.key];
    const more = make("tr", undefined, "more"), cell = make("td");
    cell.colSpan = row.cells.length;
    const points = curve(row.dataset.key);
    cell.append(make("p", ending), ...(points.length > 1 ? sketch(points) : []));
    const line = make("div", undefined, "command"), shown = make("pre", command);
    line.append(shown, copier(() => command));
    cell.append(line);
    more.append(cell);
    extra.set(row, more);
    row.after(more);
    row.querySelector(".open").setAttribute("aria-expanded", "true");
  };
  body.addEventListener("click", (event) => {
    if (event.target.closest(".open")) open(event.target.closest("tr"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const row of Array.from(extra.keys())) close(row);
  });

  // a mark leads to its row
  const byKey = new Map(rows.map((row) => [row.dataset.key, row]));
  document.addEventListener("click", (event) => {
    const mark = event.target.closest("svg.plot [data-trial]");
    const row = mark && byKey.get(mark.dataset.trial);
    if (!row) return;
    for (const other of rows) other.classList.toggle("target", other === row);
    row.hidden = false;
    if (!extra.has(row)) open(row);
    row.scrollIntoView({ block: "center" });
    row.querySelector(".open").focus({ preventScroll: true });
  });

  // the numbers of a plot, made when they are asked for
  for (const node of document.querySelectorAll("details.data")) {
    node.addEventListener("toggle", () => {
      if (!node.open || node.querySelector("table")) return;
      const { title, columns, values } = data.plots[node.dataset.plot];
      const count = values.length ? values[0].length : 0, most = 500;
      const box = make("div", undefined, "scroll"), table = make("table"), head = make("tr");
      table.append(make("caption", title, "sr"));
      box.tabIndex = 0;
      for (const name of columns) head.append(make("th", name));
      table.append(make("thead"), make("tbody"));
      table.tHead.append(head);
      for (let at = 0; at < Math.min(count, most); at++) {
        const row = make("tr");
        for (const column of values) row.append(make("td", column[at] === null ? "" : String(column[at])));
        table.tBodies[0].append(row);
      }
      box.append(table);
      const quoted = (value) => {
        const text = value === null ? "" : String(value);
        return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
      };
      const button = make("button", "Save as CSV", "button");
      button.type = "button";
      button.addEventListener("click", () => {
        const lines = [columns.map(quoted).join(",")];
        for (let at = 0; at < count; at++) lines.push(values.map((column) => quoted(column[at])).join(","));
        const link = make("a");
        link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
        link.download = `${node.dataset.plot}.csv`;
        link.click();
        URL.revokeObjectURL(link.href);
      });
      node.append(button);
      if (count > most) node.append(make("p", `The first ${most} of ${count} rows; the file has all.`, "soft"));
      node.append(box);
    });
  }
  for (const node of document.querySelectorAll(".command")) {
    node.append(copier(() => node.querySelector("pre").textContent));
  }
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const node of document.querySelectorAll("details:not(.data):not([open])")) { node.open = true; opened.push(node); }
  });
  addEventListener("afterprint", () => { for (const node of opened.splice(0)) node.open = false; });
})();
