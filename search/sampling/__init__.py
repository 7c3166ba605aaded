"""What proposes the next trial: the joint space of layouts and recipes, its samplers, and the run's Optuna study."""

from search.sampling.feasible_sampler import FeasibleSampler
from search.sampling.gaussian_process_sampler import GaussianProcessSampler
from search.sampling.joint_space import Candidate, CandidateSpace, JointSpace

__all__ = ["Candidate", "CandidateSpace", "FeasibleSampler", "GaussianProcessSampler", "JointSpace"]
