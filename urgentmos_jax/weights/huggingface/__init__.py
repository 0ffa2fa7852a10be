"""Pretrained encoders in Hugging Face's files: config.json and names of tensors, one module a family."""
