"""Tables and figures of a run, made from its results and its models' logits."""
