"""A folder of images as a data set: which of its folders are parts and classes, its files, its preparation."""
