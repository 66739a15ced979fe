"""What the package says of one image."""


def result_of(top, **more):
    """The result of one image, as mmpretrain has it.

    Args:
        top: list of {"label": int, "class": str, "score": float}, the best first.
        **more: other entries.
    """
    best = top[0]
    return {
        "pred_label": best["label"],
        "pred_score": best["score"],
        "pred_class": best["class"],
        **more,
        "top_k": top,
    }
