"""Running one nipype graph in this process, and saying in one sentence why it failed."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any

from brainage_bids.records import UnusableInput

LOGGER = logging.getLogger("brainage")
NO_MEMORY = "There was not enough memory for this scan; allow more with --mem-mb or run fewer participants at once."


class GraphFailed(Exception):
    """A node failed: its name, one sentence, and the traceback."""

    def __init__(self, step: str, message: str, detail: str):
        super().__init__(message)
        self.step, self.message, self.detail = step, message, detail


def run_graph(workflow, inputs: dict[str, Any], work_dir: Path) -> dict[str, Any]:
    """Run a graph node after node and return what its ``outputnode`` collected.

    Parameters
    ----------
    workflow : nipype Workflow
        With an ``inputnode`` and an ``outputnode`` (``interfaces.collect.Collect``).
    inputs : dict
        Values of the input node's fields.
    work_dir : Path
        Folder of the graph, emptied first: what an earlier run left behind may be partial.

    Raises
    ------
    GraphFailed
        If a node failed.
    """
    logging.getLogger("nipype.workflow").setLevel(logging.CRITICAL)  # what fails is said once, by us
    workflow.config = {
        "execution": {
            "stop_on_first_crash": True,
            "crashdump_dir": str(work_dir),
            "crashfile_format": "txt",
            "hash_method": "timestamp",
            "check_version": False,
            "create_report": False,
        }
    }
    from nipype.interfaces.base import isdefined

    shutil.rmtree(work_dir / workflow.name, ignore_errors=True)
    work_dir.mkdir(parents=True, exist_ok=True)
    workflow.base_dir = str(work_dir)
    for name, value in inputs.items():
        setattr(workflow.get_node("inputnode").inputs, name, value)
    try:
        graph = workflow.run(plugin="Linear")
    except Exception as error:  # nipype wraps whatever a node raises; the sentence is taken out again and raised
        raise _failure(error, workflow) from error
    last = next(node for node in graph.nodes() if node.name == "outputnode")
    return {name: value for name, value in last.result.outputs.get().items() if isdefined(value)}


def _failure(error: Exception, workflow) -> GraphFailed:
    """The step, the sentence and the traceback of a node's failure."""
    text = str(error)
    node = re.search(r"executing Node (\S+?)\.?$", text, flags=re.MULTILINE)
    step = node.group(1).replace("_", " ") if node else workflow.name.removesuffix("_wf")
    if isinstance(error, UnusableInput):
        return GraphFailed(step, text, text)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"([\w.]+\.)?(\w*(Error|Exception|Input|Exit|Interrupt))\b:?", line)]
    last = raised[-1] if raised else (lines[-1] if lines else type(error).__name__)
    kind, _, words = last.partition(": ")
    kind = kind.rsplit(".", 1)[-1]
    if kind == "UnusableInput":
        return GraphFailed(step, words, text)
    if kind == "MemoryError" or "bad_alloc" in last or "MemoryError" in last:
        return GraphFailed(step, NO_MEMORY, text)
    if kind == "OSError" and words:
        return GraphFailed(step, f"A file could not be written or read ({words}); make room or check the folder, then run again.", text)
    return GraphFailed(step, f"The step '{step}' stopped with an error that was not foreseen ({last}); the log has the details.", text)
