"""The node that takes over the preprocessed images of another app."""

from __future__ import annotations

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits


class AdoptInputSpec(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True, desc="bias-corrected T1w of another app")
    mask = File(exists=True, mandatory=True)
    dseg = File(exists=True, desc="looked at only with all three maps")
    probseg_GM = File(exists=True)
    probseg_WM = File(exists=True)
    probseg_CSF = File(exists=True)


class AdoptOutputSpec(TraitedSpec):
    preproc = File(exists=True)
    brain = File(exists=True)
    stripped = traits.Bool
    flags = traits.List(traits.Str)
    notes = traits.List(traits.Str)
    out_dseg = File(exists=True)
    out_probseg_GM = File(exists=True)
    out_probseg_WM = File(exists=True)
    out_probseg_CSF = File(exists=True)


class Adopt(SimpleInterface):
    """Bring another app's native-space files to our orientation, codes and encoding, and check that they share one grid."""

    input_spec, output_spec = AdoptInputSpec, AdoptOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from brainage_bids.imaging.adopted import brain_of, probability
        from brainage_bids.imaging.brain_mask import looks_stripped
        from brainage_bids.imaging.conform import conform, load_scan
        from brainage_bids.interfaces.images import save, save_scaled

        conformed = conform(load_scan(self.inputs.t1w), self.inputs.t1w)
        data, affine = conformed.image.get_fdata(dtype=np.float32), conformed.image.affine
        brain = brain_of(self._read("mask", affine, data.shape), self.inputs.mask)
        self._results["preproc"] = save_scaled(data, affine, f"{runtime.cwd}/preproc.nii", dtype=np.int16, top=float(data.max()))
        self._results["brain"] = save(brain.astype("uint8"), affine, f"{runtime.cwd}/mask.nii")
        self._results["stripped"] = looks_stripped(data, affine)
        self._results["flags"], self._results["notes"] = list(conformed.flags), list(conformed.notes)
        maps = {}
        for tissue in ("GM", "WM", "CSF"):
            path = getattr(self.inputs, f"probseg_{tissue}")
            if path:
                maps[tissue] = probability(self._read(f"probseg_{tissue}", affine, data.shape), path)
                stored = f"{runtime.cwd}/{tissue}.nii"
                self._results[f"out_probseg_{tissue}"] = save_scaled(maps[tissue], affine, stored, dtype=np.uint8, top=1.0)
        if len(maps) == 3:
            self._results["out_dseg"] = save(self._labels(maps, affine), affine, f"{runtime.cwd}/dseg.nii")
        return runtime

    def _labels(self, maps, affine):
        """Tissue of each voxel, by the labels of the other app where it has some."""
        import numpy as np

        from brainage_bids.imaging.adopted import tissue_labels

        labels = None
        if self.inputs.dseg:
            labels = np.rint(np.nan_to_num(self._read("dseg", affine, maps["GM"].shape))).astype(np.int32)
        return tissue_labels(labels, maps)

    def _read(self, key, affine, shape):
        """One of the images that belong to the T1w, float32 on its grid."""
        import nibabel as nib
        import numpy as np

        from brainage_bids.imaging.conform import load_scan
        from brainage_bids.records import UnusableInput

        path = getattr(self.inputs, key)
        image = load_scan(path)
        image = None if image.affine is None else nib.as_closest_canonical(image)
        if image is None or image.shape[:3] != shape or not np.allclose(image.affine, affine, atol=1e-2):
            raise UnusableInput(
                f"{path} is not on the grid of the T1w that it belongs to, so it cannot be reused; leave that dataset out of --derivatives."
            )
        return image.get_fdata(dtype=np.float32).reshape(shape)


class WithinInputSpec(BaseInterfaceInputSpec):
    mask_file = File(exists=True, mandatory=True)
    dseg = File(exists=True)
    aseg = File(exists=True, mandatory=True)
    probseg_GM = File(exists=True)
    probseg_WM = File(exists=True)
    probseg_CSF = File(exists=True)


class WithinOutputSpec(TraitedSpec):
    dseg = File(exists=True)
    aseg = File(exists=True)
    probseg_GM = File(exists=True)
    probseg_WM = File(exists=True)
    probseg_CSF = File(exists=True)


class Within(SimpleInterface):
    """Keep our tissues and structures inside a brain mask that was taken over, so that all files agree on the brain."""

    input_spec, output_spec = WithinInputSpec, WithinOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from brainage_bids.interfaces.images import load, save, save_scaled

        mask, affine = load(self.inputs.mask_file)
        for key in self.output_spec().get():
            path = getattr(self.inputs, key)
            if not path:
                continue
            inside = np.where(mask > 0, load(path)[0], 0)
            stored = f"{runtime.cwd}/{key}.nii"
            if key.startswith("probseg"):
                self._results[key] = save_scaled(inside, affine, stored, dtype=np.uint8, top=1.0)
            else:
                self._results[key] = save(inside.astype(np.uint8), affine, stored)
        return runtime
