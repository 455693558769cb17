"""Nodes that turn images into tables: volumes and quality."""

from __future__ import annotations

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits


class VolumesInputSpec(BaseInterfaceInputSpec):
    probseg_GM = File(exists=True, mandatory=True)
    probseg_WM = File(exists=True, mandatory=True)
    probseg_CSF = File(exists=True, mandatory=True)
    aseg = File(exists=True, mandatory=True)
    forward = File(exists=True, mandatory=True, desc="transform to the template")
    stripped = traits.Bool(mandatory=True, desc="the scan came as an extracted brain, which has no intracranial volume")


class VolumesOutputSpec(TraitedSpec):
    tissues = traits.Dict(traits.Str, traits.Float, desc="mm³ of GM, WM, CSF, brain, eTIV (NaN for an extracted brain)")
    regions = traits.List(traits.Dict, desc="rows of the atlas table")


class Volumes(SimpleInterface):
    """Volumes of tissues and regions (``imaging.volumes``)."""

    input_spec, output_spec = VolumesInputSpec, VolumesOutputSpec

    def _run_interface(self, runtime):
        from brainage_bids.imaging.pipeline import measure_volumes
        from brainage_bids.imaging.transforms import read_forward
        from brainage_bids.interfaces.images import load, load_probability

        maps = {tissue: load_probability(getattr(self.inputs, f"probseg_{tissue}")) for tissue in ("GM", "WM", "CSF")}
        labels, affine = load(self.inputs.aseg)[0], maps["GM"][1]
        tissues = {tissue: values for tissue, (values, _) in maps.items()}
        found = measure_volumes(tissues, labels, affine, read_forward(self.inputs.forward), stripped=self.inputs.stripped)
        self._results["tissues"], self._results["regions"] = found
        return runtime


class QualityInputSpec(BaseInterfaceInputSpec):
    raw_file = File(exists=True, mandatory=True, desc="conformed scan")
    in_file = File(exists=True, mandatory=True, desc="bias-corrected scan")
    mask_file = File(exists=True, mandatory=True)
    dseg = File(exists=True, mandatory=True)
    aseg = File(exists=True, mandatory=True)
    probseg_GM = File(exists=True, mandatory=True)
    probseg_WM = File(exists=True, mandatory=True)
    forward = File(exists=True, mandatory=True)
    inverse = File(exists=True, mandatory=True)
    tissues = traits.Dict(traits.Str, traits.Float, mandatory=True)
    stripped = traits.Bool(mandatory=True)
    own_bias = traits.Bool(True, usedefault=True, desc="the correction is ours, so that raw / corrected is its field")


class QualityOutputSpec(TraitedSpec):
    rows = traits.List(traits.Dict)


class Quality(SimpleInterface):
    """The quality table (``imaging.quality_limits``)."""

    input_spec, output_spec = QualityInputSpec, QualityOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from brainage_bids.imaging import quality_limits
        from brainage_bids.imaging.normalise import local_volume_change
        from brainage_bids.imaging.quality_structures import measure_structures
        from brainage_bids.imaging.registration import template, template_overlap
        from brainage_bids.imaging.transforms import read_transforms
        from brainage_bids.interfaces.images import load, load_probability

        raw, affine = load(self.inputs.raw_file)
        corrected, _ = load_probability(self.inputs.in_file)
        spatial_map = read_transforms(self.inputs.forward, self.inputs.inverse)
        tissue = {t: load_probability(getattr(self.inputs, f"probseg_{t}"))[0] for t in ("GM", "WM")}
        field = np.divide(raw, corrected, out=np.ones_like(corrected), where=corrected > 0) if self.inputs.own_bias else None
        structures, details = measure_structures(corrected, load(self.inputs.aseg)[0], affine)
        metrics = quality_limits.measure(
            raw,
            corrected,
            affine,
            load(self.inputs.mask_file)[0] > 0,
            load(self.inputs.dseg)[0],
            stripped=self.inputs.stripped,
            bias_field=field,
            jacobian=local_volume_change(spatial_map),
            jacobian_mask=template("1p5") > 0,
            registration_overlap=template_overlap(tissue, affine, spatial_map),
            tissue_mm3=self.inputs.tissues,
            structures=structures,
        )
        self._results["rows"] = quality_limits.assess(metrics, self.inputs.stripped, details)
        return runtime
