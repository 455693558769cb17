"""Nodes that carry a person's files into the template's space."""

from __future__ import annotations

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits


class NormaliseT1wInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    forward = File(exists=True, mandatory=True)
    inverse = File(exists=True, mandatory=True)
    threads = traits.Int(1, usedefault=True)


class NormaliseT1wOutputSpec(TraitedSpec):
    res_1 = File(exists=True)
    res_2 = File(exists=True)
    affine_only = File(exists=True)


class NormaliseT1w(SimpleInterface):
    """The T1w in the template's space at 1 and 2 mm, and by the affine alone (``imaging.normalise``)."""

    input_spec, output_spec = NormaliseT1wInputSpec, NormaliseT1wOutputSpec

    def _run_interface(self, runtime):
        from concurrent.futures import ThreadPoolExecutor

        import numpy as np
        import torch

        from brainage_bids.imaging.grids import GRIDS
        from brainage_bids.imaging.normalise import to_template
        from brainage_bids.imaging.transforms import read_transforms
        from brainage_bids.interfaces.images import load_probability, save_scaled

        data, affine = load_probability(self.inputs.in_file)
        spatial_map = read_transforms(self.inputs.forward, self.inputs.inverse)

        def moved(kind: tuple[str, str, bool]) -> str:
            name, grid, warped = kind
            image = to_template(data, affine, spatial_map, GRIDS[grid], warped=warped)
            path = f"{runtime.cwd}/{name}.nii"
            return save_scaled(image, GRIDS[grid].affine, path, dtype=np.int16, top=max(float(image.max()), 1e-6))

        torch.set_num_threads(1)  # images are made side by side
        kinds = (("res_1", "1", True), ("affine_only", "1", False), ("res_2", "2", True))
        with ThreadPoolExecutor(self.inputs.threads) as pool:
            self._results |= dict(zip([name for name, *_ in kinds], pool.map(moved, kinds), strict=True))
        return runtime


class ModulateInputSpec(BaseInterfaceInputSpec):
    probseg_GM = File(exists=True, mandatory=True)
    probseg_WM = File(exists=True, mandatory=True)
    probseg_CSF = File(exists=True, mandatory=True)
    forward = File(exists=True, mandatory=True)
    inverse = File(exists=True, mandatory=True)
    fwhm = traits.Float(4.0, usedefault=True, desc="smoothing in mm")
    threads = traits.Int(1, usedefault=True)


class ModulateOutputSpec(TraitedSpec):
    modulated = traits.Dict(traits.Str, File(exists=True))
    smoothed = traits.Dict(traits.Str, File(exists=True))


class Modulate(SimpleInterface):
    """Modulated tissue maps at 1.5 mm, plain and smoothed (``imaging.normalise``, ``imaging.smooth``)."""

    input_spec, output_spec = ModulateInputSpec, ModulateOutputSpec

    def _run_interface(self, runtime):
        from concurrent.futures import ThreadPoolExecutor

        from brainage_bids.imaging.normalise import local_volume_change, modulated_maps
        from brainage_bids.imaging.smooth import smooth
        from brainage_bids.imaging.transforms import read_transforms
        from brainage_bids.imaging.warps import WARP_GRID
        from brainage_bids.interfaces.images import load_probability, save

        maps = {tissue: load_probability(getattr(self.inputs, f"probseg_{tissue}")) for tissue in ("GM", "WM", "CSF")}
        spatial_map = read_transforms(self.inputs.forward, self.inputs.inverse)
        native = {tissue: data for tissue, (data, _) in maps.items()}
        threads = self.inputs.threads
        modulated = modulated_maps(native, maps["GM"][1], spatial_map, local_volume_change(spatial_map), threads=threads)

        def blurred(tissue: str) -> str:
            volume = smooth(modulated[tissue], self.inputs.fwhm, (WARP_GRID.voxel_mm,) * 3)
            return save(volume, WARP_GRID.affine, f"{runtime.cwd}/{tissue}_smooth.nii")

        with ThreadPoolExecutor(threads) as pool:
            self._results["smoothed"] = dict(zip(modulated, pool.map(blurred, modulated), strict=True))
        self._results["modulated"] = {
            tissue: save(volume, WARP_GRID.affine, f"{runtime.cwd}/{tissue}.nii") for tissue, volume in modulated.items()
        }
        return runtime
