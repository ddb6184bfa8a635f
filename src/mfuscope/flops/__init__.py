"""FLOPs of a model. A multiply-add counts 2; attention counts the full context it is given."""
