"""Scores within the tools of others: one file a tool, each of which is needed only where its file is used.

| file | gives |
| --- | --- |
| `torch` | scores and gradients of torch waveforms: a loss, a reward |
| `tensorboard`, `lightning` | the scores of validation audio in the log of a training |
| `torchmetrics` | a `Metric` |
| `versa` | a metric of VERSA |
| `nemo_curator` | a stage of NeMo Curator |
| `datasets` | a function for `Dataset.map` |
| `lhotse` | cuts with scores |
"""
