"""The numbers that published models run in."""


def usual_dtype(device: str) -> str:
    """float32 on a CPU, elsewhere as published: most CPUs have no half precision, and a product of matrices in it took
    fifteen times as long as in float32 (float16) or twenty times (bfloat16).
    """
    return "float32" if device == "cpu" else "auto"
