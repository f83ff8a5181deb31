"""What all tests share."""

import torch

# The tensors here are tiny: threads would only wait for each other.
torch.set_num_threads(1)
