from .full_sampler import FullSampler
