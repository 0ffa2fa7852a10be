"""Between files and modules: checkpoints, model folders, the hub.

`urgent_mos.py` renames the authors' checkpoint, `huggingface/` pretrained encoders, one table a family.
"""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    cache="find_model",
    encoder_folder="find_config load_encoder read_config",
    hub="HubFileChanged ModelNotFound PushFailed find_folder push_files",
    model_card="facts model_card",
    model_folder="ModelFolderError is_model_folder load_folder read_folder_config save_folder",
    published="PUBLISHED_ENCODERS",
    rules="Rule WeightsError assemble fill flat_state",
    safetensors="DamagedFile read_safetensors",
    torch_zip="UnsafeCheckpoint read_torch_file",
    urgent_mos="Checkpoint checkpoint_rules read_checkpoint",
    user_cache="cache_folder",
)
