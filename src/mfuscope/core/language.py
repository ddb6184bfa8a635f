"""The dimensions of a language decoder, from which its FLOPs follow."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextWidths:
    """The widths that every decoder config names; enough for the directional formulas."""

    hidden: int
    layers: int
    kv_heads: int
    head_dim: int
    mlp: int


@dataclass(frozen=True, slots=True)
class Language:
    """A decoder: attention, a dense MLP in the first layers, experts in the others.

    Attributes:
        window: number of generated tokens that a sliding layer attends to, beside the whole prompt;
            None if every layer attends to all tokens.
        sliding_layers: number of layers with that window.
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
        """Number of layers with experts."""
        return self.layers - self.dense_layers

    @property
    def parameters(self) -> int:
        """Number of parameters without norms, the embedding counted once: at least so many."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        dense = 3 * self.hidden * self.dense_mlp
        sparse = self.hidden * (self.experts + 3 * self.experts * self.expert_mlp)
        sparse += 3 * self.hidden * self.shared_mlp
        return (
            self.vocabulary * self.hidden
            + self.layers * attention
            + self.dense_layers * dense
            + self.sparse_layers * sparse
        )

    @property
    def widths(self) -> TextWidths:
        """The widths that the directional formulas need."""
        return TextWidths(self.hidden, self.layers, self.kv_heads, self.head_dim, self.dense_mlp)
