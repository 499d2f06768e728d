"""Published protocols from the command line."""

import json

from roodbench import cli
from roodbench.setup.config import RunConfig


def test_the_published_protocol(capsys, tmp_path):
    """Its settings, GEN as published included, and what is wrong with them."""

    def command(*arguments):
        assert cli.main([*arguments, "--out", str(tmp_path)]) == 0
        return capsys.readouterr().out

    protocol = ("--protocol", "ross-2026", "--limit", "4", "--ood", "unseen-digits")
    found = json.loads(command("--detector", "ross", *protocol, "--format", "json"))
    assert found["config"]["params"] == {"sigma": 0.05, "copies": 25, "gain": 0.01, "published": True}
    assert found["config"]["precision"] == "float32"
    assert {row["space"] for row in found["rows"]} == {"normalized"}
    tables = {base: command("--detector", "ross", "--base", base, *protocol) for base in ("gen", "msp")}
    for base, table in tables.items():
        assert "the attack's steps add up to 1.33 epsilon, too few to cross the ball" in table
        assert "the attack sees the base score alone (transfer)" in table
        assert ("over gen, images whose softmax rounds to 1 get no step" in table) == (base == "gen")
    exact = command("--detector", "ross", "--param", "base.published=false", *protocol)
    assert "over gen" not in exact


def test_parameters_of_a_protocol_go_to_those_who_take_them():
    assert RunConfig(detector=("pro",), protocol="pro-2025").params == {"published": True}
    assert RunConfig(detector=("pro",), base="msp", protocol="pro-2025").params == {}
    given = RunConfig(detector=("ross",), base="fdbd", protocol="ross-2026", params={"base.distance_to_mean": True})
    assert given.params == {"sigma": 0.05, "copies": 25, "gain": 0.01, "base.distance_to_mean": True}
