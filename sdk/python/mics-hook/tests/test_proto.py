"""The committed protobuf modules have every field of proto/Protos."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mics_hook._proto import mics_hook_pb2, mics_message_pb2

PROTOS = Path(__file__).parents[4] / "proto" / "Protos"
MESSAGE = re.compile(r"message (\w+) \{(.*?)\n\}", re.DOTALL)
FIELD = re.compile(r"([\w.]+) (\w+) = (\d+);")


@pytest.mark.parametrize("module", [mics_hook_pb2, mics_message_pb2], ids=lambda m: m.__name__)
def test_the_module_follows_its_proto_file(module: object) -> None:
    descriptor = module.DESCRIPTOR  # type: ignore[attr-defined]
    text = (PROTOS / Path(descriptor.name).name).read_text()
    messages = MESSAGE.findall(text)
    assert {name for name, _ in messages} == set(descriptor.message_types_by_name)
    for name, body in messages:
        fields = {f.name: f.number for f in descriptor.message_types_by_name[name].fields}
        assert {field: int(number) for _, field, number in FIELD.findall(body)} == fields, name
