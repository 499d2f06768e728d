"""What interval bounds certify: which scores, at which linf radii. Importing it imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from ...setup.config import RunConfig, check_eps
from ...setup.values import typed, wrong
from ..config import BOUNDED, check_run


@dataclass(frozen=True)
class IntervalConfig:
    """Radii are linf, in pixels of [0, 1]. ValueError for what cannot be certified."""

    run: RunConfig = field(default_factory=lambda: RunConfig(detector=("ebo",)))
    radius: tuple[float, ...] = (1 / 255,)

    def __post_init__(self) -> None:
        if not isinstance(self.run, RunConfig):
            raise wrong("run", self.run, "a RunConfig")
        kinds = {f.name: f.type for f in fields(self) if f.name != "run"}
        radii = typed(kinds, {"radius": self.radius})["radius"]
        check_run(self.run, BOUNDED)
        if self.run.norm != "linf":
            raise ValueError(f"{self.run.detector[0]} is certified by interval bounds, in linf: give --norm linf")
        for radius in radii:
            check_eps(radius, "linf", "pixel")
            if not radius > 0:
                raise ValueError(f"radius {radius:g}: expected a number above 0, such as 1/255")
        object.__setattr__(self, "radius", tuple(sorted(set(radii))))
