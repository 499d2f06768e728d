"""Studies on a GPU, here a pretend one, which draws from the CPU's generators: the same tables as on the CPU."""

import pytest

from studies import hunt, refine, step_schedule

SMALL = {
    hunt: ["--images", "2", "--detectors", "pro", "--budget", "150", "--hunts", "hops"],
    step_schedule: ["--images", "4", "--steps", "2"],
    refine: ["--images", "4", "--detectors", "gen"],
}
LONG = {refine, step_schedule}


@pytest.mark.parametrize(
    "study", [pytest.param(s, marks=[pytest.mark.slow] if s in LONG else [], id=s.__name__) for s in SMALL]
)
def test_the_table_is_the_same_there(study, capsys, request):
    study.main(SMALL[study])
    here = capsys.readouterr().out
    request.getfixturevalue("gpu")
    study.main(SMALL[study])
    assert capsys.readouterr().out == here
