"""Nodes that bring another image to the T1w of the session, and the whole-brain arrays of both."""

from __future__ import annotations

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits


class AlignInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="conformed image")
    t1w = File(exists=True, mandatory=True, desc="preprocessed T1w")
    mask_file = File(exists=True, mandatory=True, desc="its brain")
    sloppy = traits.Bool(False, usedefault=True)
    seed = traits.Int(1, usedefault=True)


class AlignOutputSpec(TraitedSpec):
    matrix = File(exists=True, desc="T1w mm to mm of the image, text")
    agreement = traits.Float(desc="of their edges")
    seen = traits.Float(desc="share of the brain in the field of view")


class Align(SimpleInterface):
    """Register to the T1w and say how well their edges agree (``imaging.rigid``)."""

    input_spec, output_spec = AlignInputSpec, AlignOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from brainage_bids.imaging import rigid
        from brainage_bids.interfaces.images import load, load_probability

        image, affine = load(self.inputs.in_file)
        t1w, t1w_affine = load_probability(self.inputs.t1w)
        target = rigid.compared(t1w, t1w_affine, load(self.inputs.mask_file)[0] > 0, sloppy=self.inputs.sloppy)
        shift = rigid.head_shift(t1w, t1w_affine, image, affine)
        matrix = rigid.register_rigid(target, image, affine, start_mm=shift, sloppy=self.inputs.sloppy, seed=self.inputs.seed)
        self._results["matrix"] = f"{runtime.cwd}/matrix.txt"
        np.savetxt(self._results["matrix"], matrix, fmt="%.17g")
        self._results["agreement"] = rigid.agreement_at(target, image, affine, matrix)
        self._results["seen"] = rigid.brain_seen(target, image.shape, affine, matrix)
        return runtime


class MasksOnScanInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="conformed image")
    matrix = File(exists=True, mandatory=True)
    mask_file = File(exists=True, mandatory=True)
    aseg = File(exists=True, mandatory=True)
    probseg_GM = File(exists=True, mandatory=True)
    probseg_WM = File(exists=True, mandatory=True)


class MasksOnScanOutputSpec(TraitedSpec):
    mask_file = File(exists=True, desc="brain on the grid of the image")
    sure = File(exists=True, desc="1 surely grey matter, 2 white matter, 3 fluid of the lateral ventricles")


class MasksOnScan(SimpleInterface):
    """The T1w's brain, tissues and ventricles on the voxels of another image (``imaging.grids``)."""

    input_spec, output_spec = MasksOnScanInputSpec, MasksOnScanOutputSpec

    def _run_interface(self, runtime):
        import nibabel as nib
        import numpy as np

        from brainage_bids.imaging.grids import resample
        from brainage_bids.interfaces.images import load, load_probability, save

        scan = nib.load(self.inputs.in_file)
        back = np.linalg.inv(np.loadtxt(self.inputs.matrix))

        def there(values, affine):
            return resample(np.asarray(values, dtype=np.float32), affine, scan.shape, scan.affine, matrix=back, antialias=True)

        mask, affine = load(self.inputs.mask_file)
        brain = there(mask > 0, affine) > 0.5
        sure = np.zeros(scan.shape, dtype=np.uint8)
        for code, path in ((1, self.inputs.probseg_GM), (2, self.inputs.probseg_WM)):
            sure[there(*load_probability(path)) > SURE] = code
        aseg, affine = load(self.inputs.aseg)
        sure[there(np.isin(aseg, LATERAL_VENTRICLES), affine) > SURE] = 3
        self._results["mask_file"] = save(brain.astype(np.uint8), scan.affine, f"{runtime.cwd}/brain.nii")
        self._results["sure"] = save(np.where(brain, sure, 0).astype(np.uint8), scan.affine, f"{runtime.cwd}/sure.nii")
        return runtime


SURE = 0.9
"""Share of a voxel that one tissue must fill to count as sure."""
LATERAL_VENTRICLES = (4, 43)


class MoveInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="bias-corrected image on its own grid")
    matrix = File(exists=True, mandatory=True)
    mask_file = File(exists=True, mandatory=True, desc="brain of the T1w")
    forward = File(exists=True, mandatory=True)
    inverse = File(exists=True, mandatory=True)


class MoveOutputSpec(TraitedSpec):
    head = File(exists=True, desc="on the T1w's grid, with its surroundings")
    t1w_space = File(exists=True, desc="the brain on the T1w's grid")
    mni = File(exists=True, desc="the brain on the template's grid of 2 mm")


class Move(SimpleInterface):
    """The image in the spaces of the T1w and of the template, one interpolation each (``imaging.normalise``)."""

    input_spec, output_spec = MoveInputSpec, MoveOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from brainage_bids.imaging.grids import GRIDS, resample
        from brainage_bids.imaging.normalise import to_template
        from brainage_bids.imaging.transforms import read_transforms
        from brainage_bids.interfaces.images import load, load_probability, save_scaled

        image, affine = load_probability(self.inputs.in_file)
        matrix = np.loadtxt(self.inputs.matrix)
        mask, t1w_affine = load(self.inputs.mask_file)
        spatial_map = read_transforms(self.inputs.forward, self.inputs.inverse)
        head = resample(image, affine, mask.shape, t1w_affine, matrix=matrix, antialias=True)
        brain = to_template((mask > 0).astype(np.float32), t1w_affine, spatial_map, GRIDS["2"]) > 0.5
        moved = to_template(image, np.linalg.inv(matrix) @ affine, spatial_map, GRIDS["2"]) * brain
        for name, data, grid in (
            ("head", head, t1w_affine),
            ("t1w_space", head * (mask > 0), t1w_affine),
            ("mni", moved, GRIDS["2"].affine),
        ):
            top = max(float(data.max()), 1e-6)
            self._results[name] = save_scaled(data, grid, f"{runtime.cwd}/{name}.nii", dtype=np.int16, top=top)
        return runtime


class PackInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="bias-corrected image on its own grid")
    modality = traits.Str(mandatory=True)
    matrix = File(exists=True, desc="T1w mm to mm of the image; none for the T1w itself")
    mask_file = File(exists=True, mandatory=True, desc="brain of the T1w")
    probseg_WM = File(exists=True, mandatory=True)
    forward = File(exists=True, mandatory=True)
    inverse = File(exists=True, mandatory=True)


class PackOutputSpec(TraitedSpec):
    packed = File(exists=True, desc="T1w space, 1 mm")
    packed_mni = File(exists=True, desc="template, 2 mm")
    factor = traits.Float(desc="by which intensities were multiplied")
    clipped_share = traits.Float


class Pack(SimpleInterface):
    """Whole-brain arrays on one scale, one byte a voxel (``imaging.packing``)."""

    input_spec, output_spec = PackInputSpec, PackOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from brainage_bids.imaging.grids import GRIDS, resample
        from brainage_bids.imaging.normalise import to_template
        from brainage_bids.imaging.packing import brain_grid, clipped_share, pack, scale_factor
        from brainage_bids.imaging.transforms import read_transforms
        from brainage_bids.interfaces.images import load, load_probability, save_packed

        image, affine = load_probability(self.inputs.in_file)
        in_t1w = np.linalg.inv(np.loadtxt(self.inputs.matrix)) @ affine if self.inputs.matrix else affine
        mask, t1w_affine = load(self.inputs.mask_file)
        white, _ = load_probability(self.inputs.probseg_WM)
        native = resample(image, in_t1w, mask.shape, t1w_affine, antialias=True)
        factor = scale_factor(native[(white > SURE) & (native > 0)], self.inputs.modality)
        brain, grid = brain_grid(mask > 0, t1w_affine)
        straight = resample(image, in_t1w, brain.shape, grid, antialias=True)
        spatial_map = read_transforms(self.inputs.forward, self.inputs.inverse)
        warped = to_template(image, in_t1w, spatial_map, GRIDS["2"])
        warped *= to_template((mask > 0).astype(np.float32), t1w_affine, spatial_map, GRIDS["2"]) > 0.5
        self._results["factor"], self._results["clipped_share"] = factor, clipped_share(straight, brain, factor)
        self._results["packed"] = save_packed(pack(straight * brain, factor), grid, f"{runtime.cwd}/packed.nii")
        self._results["packed_mni"] = save_packed(pack(warped, factor), GRIDS["2"].affine, f"{runtime.cwd}/packed_mni.nii")
        return runtime


class QualityOtherInputSpec(BaseInterfaceInputSpec):
    modality = traits.Str(mandatory=True)
    raw_file = File(exists=True, mandatory=True, desc="conformed scan")
    agreement = traits.Float(mandatory=True)
    seen = traits.Float(mandatory=True)
    in_file = File(exists=True, desc="bias-corrected; this and what follows only of a registered image")
    mask_file = File(exists=True, desc="brain on its grid")
    sure = File(exists=True)
    clipped_share = traits.Float


class QualityOtherOutputSpec(TraitedSpec):
    rows = traits.List(traits.Dict)


class QualityOther(SimpleInterface):
    """The quality table of an image beside the T1w (``imaging.quality_other``)."""

    input_spec, output_spec = QualityOtherInputSpec, QualityOtherOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from brainage_bids.imaging.brain_mask import looks_stripped
        from brainage_bids.imaging.quality_other import assess_other, measure_brain, measure_scan
        from brainage_bids.interfaces.images import load, load_probability

        raw, affine = load(self.inputs.raw_file)
        metrics = measure_scan(raw, affine, agreement=self.inputs.agreement, seen=self.inputs.seen)
        if self.inputs.in_file:
            corrected, _ = load_probability(self.inputs.in_file)
            field = np.divide(raw, corrected, out=np.ones_like(corrected), where=corrected > 0)
            brain, sure = load(self.inputs.mask_file)[0] > 0, load(self.inputs.sure)[0]
            tissues = {"GM": sure == 1, "WM": sure == 2}
            metrics |= measure_brain(raw, corrected, affine, brain, tissues, sure == 3, field)
            metrics["clipped_share"] = self.inputs.clipped_share
        self._results["rows"] = assess_other(metrics, self.inputs.modality, looks_stripped(raw, affine))
        return runtime
