"""Nodes from the raw T1w to masks, tissues and the way to the template."""

from __future__ import annotations

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits


class ConformInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=False, mandatory=True, desc="a raw scan")


class ConformOutputSpec(TraitedSpec):
    out_file = File(exists=True)
    flags = traits.List(traits.Str)
    notes = traits.List(traits.Str)


class Conform(SimpleInterface):
    """Read, check and reorient a scan (``imaging.conform``)."""

    input_spec, output_spec = ConformInputSpec, ConformOutputSpec

    def _run_interface(self, runtime):
        from brainage_bids.imaging.conform import conform, load_scan
        from brainage_bids.interfaces.images import save

        conformed = conform(load_scan(self.inputs.in_file), self.inputs.in_file)
        data = conformed.image.get_fdata(dtype="float32", caching="unchanged")
        self._results["out_file"] = save(data, conformed.image.affine, f"{runtime.cwd}/conformed.nii")
        self._results["flags"], self._results["notes"] = list(conformed.flags), list(conformed.notes)
        return runtime


class FindBrainInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="a conformed T1w")
    mode = traits.Enum("auto", "skip", "force", usedefault=True, desc="is the brain extracted already?")
    threads = traits.Int(1, usedefault=True)
    sloppy = traits.Bool(False, usedefault=True, desc="one round")


class FindBrainOutputSpec(TraitedSpec):
    mask_file = File(exists=True)
    stripped = traits.Bool(desc="the image came without its skull")


class FindBrain(SimpleInterface):
    """First brain mask (``imaging.brain_mask``)."""

    input_spec, output_spec = FindBrainInputSpec, FindBrainOutputSpec

    def _run_interface(self, runtime):
        from brainage_bids.imaging.pipeline import first_mask
        from brainage_bids.interfaces.images import load, save

        data, affine = load(self.inputs.in_file)
        how = {"skull_strip": self.inputs.mode, "threads": self.inputs.threads, "sloppy": self.inputs.sloppy}
        mask, stripped = first_mask(data, affine, **how)
        self._results["mask_file"] = save(mask.astype("uint8"), affine, f"{runtime.cwd}/mask.nii")
        self._results["stripped"] = bool(stripped)
        return runtime


class CorrectBiasInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    mask_file = File(exists=True, mandatory=True)
    effort = traits.Enum("full", "few", "sloppy", usedefault=True, desc="how closely it is fitted")


class CorrectBiasOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="corrected intensities, int16 with a slope")


class CorrectBias(SimpleInterface):
    """Remove the bias field (``imaging.bias_field``)."""

    input_spec, output_spec = CorrectBiasInputSpec, CorrectBiasOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from brainage_bids.imaging.pipeline import without_bias
        from brainage_bids.imaging.stored import top_of_scan
        from brainage_bids.interfaces.images import load, save_scaled

        data, affine = load(self.inputs.in_file)
        mask = load(self.inputs.mask_file)[0] > 0
        data = without_bias(data, affine, mask, self.inputs.effort)
        path = f"{runtime.cwd}/corrected.nii"
        self._results["out_file"] = save_scaled(data, affine, path, dtype=np.int16, top=top_of_scan(data, mask))
        return runtime


class RegisterInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    mask_file = File(exists=True, mandatory=True)
    stripped = traits.Bool(mandatory=True)
    sloppy = traits.Bool(False, usedefault=True, desc="coarse warp, not refined")
    seed = traits.Int(1, usedefault=True)


class RegisterOutputSpec(TraitedSpec):
    forward = File(exists=True)
    inverse = File(exists=True)


class Register(SimpleInterface):
    """Register to the template (``imaging.registration``), then to what the atlas expects (``imaging.expected``)."""

    input_spec, output_spec = RegisterInputSpec, RegisterOutputSpec

    def _run_interface(self, runtime):
        from brainage_bids.imaging.pipeline import to_template
        from brainage_bids.imaging.transforms import write_transforms
        from brainage_bids.interfaces.images import load, load_probability

        data, affine = load_probability(self.inputs.in_file)
        mask = load(self.inputs.mask_file)[0] > 0
        how = {"stripped": self.inputs.stripped, "sloppy": self.inputs.sloppy, "seed": self.inputs.seed}
        spatial_map = to_template(data, affine, mask, **how)
        self._results["forward"], self._results["inverse"] = f"{runtime.cwd}/forward.h5", f"{runtime.cwd}/inverse.h5"
        write_transforms(spatial_map, self._results["forward"], self._results["inverse"])
        return runtime


class SegmentInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    mask_file = File(exists=True, mandatory=True)
    forward = File(exists=True, mandatory=True)
    inverse = File(exists=True, mandatory=True)
    stripped = traits.Bool(mandatory=True)
    threads = traits.Int(1, usedefault=True)


class SegmentOutputSpec(TraitedSpec):
    mask_file = File(exists=True, desc="the refined brain mask")
    dseg = File(exists=True)
    aseg = File(exists=True)
    probseg_GM = File(exists=True)
    probseg_WM = File(exists=True)
    probseg_CSF = File(exists=True)


class Segment(SimpleInterface):
    """Tissues and structures (``imaging.tissues``)."""

    input_spec, output_spec = SegmentInputSpec, SegmentOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from brainage_bids.imaging.tissues import segment_brain
        from brainage_bids.imaging.transforms import read_transforms
        from brainage_bids.interfaces.images import load, load_probability, save, save_scaled

        data, affine = load_probability(self.inputs.in_file)
        mask = load(self.inputs.mask_file)[0] > 0
        spatial_map = read_transforms(self.inputs.forward, self.inputs.inverse)
        found = segment_brain(data, affine, mask, spatial_map, stripped=self.inputs.stripped, threads=self.inputs.threads)
        self._results["mask_file"] = save(found.brain.astype("uint8"), affine, f"{runtime.cwd}/brain.nii")
        self._results["dseg"] = save(found.dseg(), affine, f"{runtime.cwd}/dseg.nii")
        self._results["aseg"] = save(found.labels, affine, f"{runtime.cwd}/aseg.nii")
        for tissue, volume in found.tissues.items():
            path = f"{runtime.cwd}/{tissue}.nii"
            self._results[f"probseg_{tissue}"] = save_scaled(volume, affine, path, dtype=np.uint8, top=1.0)
        return runtime
