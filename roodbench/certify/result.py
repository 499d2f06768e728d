"""What a certification found, as a record, a table, a curve and the certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..record.environment import Environment
from ..record.record import parsed, typed
from ..record.text import rows_csv
from ..store.files import file_in, read_text, save_text
from ..store.identity import content_hash
from ..words import counted
from .certificate import CERTIFIED, KEY, NAME, PAGE, config_of, entries_of, header, read
from .claimed import stated_of
from .compare import differences
from .config import CertifyConfig
from .curve import curve
from .row import CertifiedRow
from .table import certified_table

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, repr=False)
class CertifiedResult:
    """Everything of one `roodbench certify`."""

    config: CertifyConfig
    environment: Environment
    network: dict[str, Any]
    data: dict[str, Any]
    rows: list[CertifiedRow]
    certificates: list[dict[str, Any]]
    """Per detector: constants and, per image, its bounds."""
    violations: list[str]
    timing: dict[str, Any]
    certificates_sha256: str | None = None
    """A hash of the certificates; None in records of before it was there."""
    code: str = ""
    """A hash of the code that decides the numbers; "" in records of before it was there."""
    operating: Sequence[dict[str, Any]] = ()
    """Per detector its threshold, TPR and FPR there over the radius; none in records of before it was there."""

    def to_dict(self) -> dict[str, Any]:
        """The record without the per-image bounds, JSON-like."""
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "certificates"}
        rows = [asdict(row) for row in self.rows]
        parts = {"config": asdict(self.config), "environment": asdict(self.environment), "rows": rows}
        return {"schema_version": 1, **record, **parts}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """One line per row; lists and settings as JSON."""
        return rows_csv(self.rows)

    def to_table(self) -> str:
        """AUROC in percent: clean, attacked and certified side by side, per radius and OOD set; TPR and FPR below."""
        return certified_table(self.rows, self.operating, self.config)

    def certificate(self) -> dict[str, Any]:
        """The evidence: threat model, settings, hashes, constants and per-image bounds."""
        config, radii = self.config, {row.radius: row.radius_l2 for row in self.rows}
        return {
            **header(config, self.network, self.data, self.code, radii),
            "config": asdict(config),
            "environment": asdict(self.environment),
            "detectors": self.certificates,
            "gauroc": [
                {k: getattr(row, k) for k in (*KEY, *CERTIFIED)} | {"deployed": row.deployed["certified"]}
                for row in self.rows
            ],
            "operating": list(self.operating),
        }

    def save(self, folder: Path) -> None:
        """Write result.json, result.csv, table.txt, certificate.json and, where matplotlib is installed, curve.svg.

        The certificate is left out of a record that was read without it, and where an attack got past a bound: what is
        disproved is not certified, and one that lies there already goes.
        """
        save_text(self.to_json() + "\n", folder / "result.json")
        save_text(self.to_csv(), folder / "result.csv")
        save_text(self.to_table() + "\n", folder / "table.txt")
        if self.violations:
            for name in (NAME, PAGE):
                (folder / name).unlink(missing_ok=True)
        elif self.certificates:
            save_text(json.dumps(self.certificate(), allow_nan=False) + "\n", folder / NAME)
        drawn = curve(self.rows, self.operating)
        if drawn is not None:
            save_text(drawn, folder / "curve.svg")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote, without the per-image bounds, which `load` reads too.

        ValueError for text that is no record of certify.
        """
        record = parsed(text, cls, ("certificates",), "certify")
        rows = [typed(CertifiedRow, entry) for entry in record["rows"]]
        parts = {"config": config_of(record), "environment": typed(Environment, record["environment"]), "rows": rows}
        return cls(**{**record, **parts, "certificates": []})

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """What `save` wrote into a folder, the per-image bounds too, where they lie there.

        ValueError where there is no such record, or the certificate beside it is not its own.
        """
        file = file_in(folder, "result.json")
        result, evidence = cls.from_json(read_text(file)), file.with_name(NAME)
        if not evidence.is_file():
            return result
        certificate = read(evidence)
        result = replace(result, certificates=entries_of(certificate, "detectors"))
        for line in result.contradictions(certificate):
            raise ValueError(f"'{evidence}' is not of the run in {file.name} beside it: {line}")
        return result

    def contradictions(self, certificate: Mapping[str, Any]) -> Iterator[str]:
        """What a certificate says that this record's does not."""
        wanted = json.loads(json.dumps(self.certificate()))
        yield from differences(certificate, wanted)
        names = [entry.get("detector") for entry in self.certificates]
        yield from differences(names, list(self.config.run.detector), "detectors")
        found = content_hash(self.certificates)
        if self.certificates_sha256 not in (None, found):
            yield f"the hash of its detectors is {found}, the record's {self.certificates_sha256}"
            return
        for row in self.rows:
            (entry,) = (its for its in self.certificates if its["detector"] == row.detector)
            wanted = stated_of(entry, row.ood, row.condition, row.radius_l2)
            where = f"{row.detector}({row.base}) on {row.ood}, {row.condition} at {row.radius:g}"
            yield from differences({name: getattr(row, name) for name in wanted}, wanted, where)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.config.run.detector)}; {counted(len(self.rows), 'row')})"

    def __str__(self) -> str:
        return self.to_table()
