"""All degradations by name: those of generated corpora, `DEGRADATIONS`, and those that need more than the package."""

from urgentmos_jax.synthesis.codecs import CODECS
from urgentmos_jax.synthesis.degradations import DEGRADATIONS, KINDS, Degradation
from urgentmos_jax.synthesis.dynamics import DYNAMICS
from urgentmos_jax.synthesis.enhancement import ENHANCEMENTS
from urgentmos_jax.synthesis.noises import NOISES
from urgentmos_jax.synthesis.packet_loss import PACKET_LOSSES
from urgentmos_jax.synthesis.rooms import ROOMS
from urgentmos_jax.synthesis.vocoders import VOCODERS

ALL_KINDS = (*KINDS, "level", "enhancement", "vocoder")

_MORE = (*NOISES, *ROOMS, *CODECS, *PACKET_LOSSES, *DYNAMICS, *ENHANCEMENTS, *VOCODERS)
ALL_DEGRADATIONS: dict[str, Degradation] = {**DEGRADATIONS, **{item.name: item for item in _MORE}}
