"""What ends a run."""


class EvaluationError(RuntimeError):
    """A run that cannot go on; the message names the detector and the image."""
