"""The same model assembled in PyTorch: yardstick of the speed benchmark, live reference of the parity tests.

Encoders come from `transformers.AutoModel`, everything after them from `torch.nn`. Names in the state dict are those of
the published checkpoints, so they load with `strict=True`, and `checkpoints.save_checkpoint` writes files that our
converter reads. Clips are padded and batched together as in the published model: with a group-norm encoder padding
therefore moves the scores, and a caller who wants the score of a clip alone passes it alone.

Letters in shapes: B clips, T samples, L frames, D features, K metrics, P pairs, C comparative metrics.
"""
