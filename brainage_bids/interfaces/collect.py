"""The last node of a graph: keeps what the graph made, under the names of its outputs."""

from __future__ import annotations

from nipype.interfaces.base import DynamicTraitedSpec, isdefined
from nipype.interfaces.io import IOBase, add_traits


class Collect(IOBase):
    """Take any fields and give them back (an IdentityInterface is taken out of a graph before it runs, this one stays)."""

    input_spec = output_spec = DynamicTraitedSpec
    _always_run = True

    def __init__(self, fields, **inputs):
        super().__init__(**inputs)
        self._fields = list(fields)
        add_traits(self.inputs, self._fields)

    def _add_output_traits(self, base):
        return add_traits(base, self._fields)

    def _list_outputs(self):
        values = {name: getattr(self.inputs, name) for name in self._fields}
        return {name: value for name, value in values.items() if isdefined(value)}
