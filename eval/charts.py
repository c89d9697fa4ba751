"""matplotlib, where it is installed: pictures come with the viz extra, numbers without it."""


class NoPictures(Exception):
    """There is no matplotlib; the message says how to get it."""


def pyplot():
    """matplotlib, without a screen. Raises NoPictures."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise NoPictures("for pictures, pip install -e '.[viz]'") from None
    return pyplot
