"""The components of all FLOP models, in the order of the forward pass."""

PATCH_EMBEDDING = "patch_embedding"
LINEAR = "vision_linear"
WINDOWED_ATTENTION = "windowed_attention"
GLOBAL_ATTENTION = "global_attention"
RELATIVE_POSITIONS = "relative_positions"
CONVOLUTIONS = "convolutions"
CLIP = "clip"
QUERY_ENCODER = "query_encoder"
PROJECTOR = "projector"
ATTENTION_PROJECTIONS = "attention_projections"
ATTENTION = "attention"
DENSE_MLP = "dense_mlp"
ROUTER = "router"
ROUTED_EXPERTS = "routed_experts"
SHARED_EXPERTS = "shared_experts"
LM_HEAD = "lm_head"
OTHER = "other"
TOTAL = "total"

VISION = (
    PATCH_EMBEDDING,
    LINEAR,
    WINDOWED_ATTENTION,
    GLOBAL_ATTENTION,
    RELATIVE_POSITIONS,
    CONVOLUTIONS,
    CLIP,
    QUERY_ENCODER,
)
LANGUAGE = (
    ATTENTION_PROJECTIONS,
    ATTENTION,
    DENSE_MLP,
    ROUTER,
    ROUTED_EXPERTS,
    SHARED_EXPERTS,
    LM_HEAD,
)
COMPONENTS = (*VISION, PROJECTOR, *LANGUAGE, OTHER)
