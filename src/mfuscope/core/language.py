"""The dimensions of a decoder that decide its FLOPs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextWidths:
    """The widths of a decoder that every config of the kind names; enough for rough formulas."""

    hidden: int
    layers: int
    kv_heads: int
    head_dim: int
    mlp: int


@dataclass(frozen=True, slots=True)
class Language:
    """The decoder: attention, a dense MLP in the first layers, experts in the others.

    Attributes:
        window: generated tokens that a sliding layer attends to beside the whole prompt, None where
            every layer attends to everything.
        sliding_layers: how many layers slide.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    dense_layers: int
    dense_mlp: int
    experts: int
    active_experts: int
    expert_mlp: int
    shared_mlp: int
    vocabulary: int
    window: int | None
    sliding_layers: int

    @property
    def sparse_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers

    @property
    def widths(self) -> TextWidths:
        """What rough formulas need of it."""
        return TextWidths(self.hidden, self.layers, self.kv_heads, self.head_dim, self.dense_mlp)
