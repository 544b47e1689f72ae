"""Normalised intensities of an MR volume, as a second derivative beside the harmonised one.

Belongs here: removing the bias field (N4), standardising by the foreground, and which volumes must never be touched.
Does not belong here: whether a profile asks for it (`oncurate.profiles`), files.

Values of a map (ADC, T1, a fraction, a field), of a phase or of a real or imaginary part mean something by themselves.
`why_not` refuses all that are one, and all derived images that nothing shows not to be one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import SimpleITK

from oncurate.bodycrop import foreground_level
from oncurate.image import Image
from oncurate.records import PlannedVolume, Step

Method = Literal["n4", "zscore"]
Why = Literal["quantitative map or not a magnitude", "more than one repetition", "not a volume", "colour"]

SHRINK = 4
"""The field is fitted on every fourth voxel of each axis (the factor of ITK's own example): it is smooth."""

LEAST_THIN = 8
"""Voxels that shrinking leaves of an axis at least, where it has as many: the B-spline needs some to be fitted to."""

ITERATIONS = (50, 50, 50, 50)
"""Iterations at each of four resolutions, the filter's defaults: fixed, so that the work is bounded."""

CONVERGENCE = 0.001
"""Change of the field at which a resolution ends, the filter's default."""

QUANTITATIVE_TERMS = frozenset(
    {
        *("ADC", "ADC_UNSPECIFIED", "EADC", "FA", "TENSOR", "TENSOR_B0", "QUANTITY", "STDDEV"),
        *("CBF", "CBV", "MTT", "TTP", "PBP", "RCBF", "RCBV"),
        *("T1_MAP", "T2_MAP", "T2 STAR MAP", "R1", "R2", "R2_STAR", "FF", "FAT_FRACTION"),
        *("B0_MAP", "B1", "VELOCITY", "FLOW_ENCODED"),
        *("P", "PHASE", "PHASE MAP", "PHA", "P_SE", "P_FFE"),
        *("R", "REAL", "R_SE", "R_FFE", "I", "IMAGINARY", "I_SE", "I_FFE"),
    }
)
"""Terms of ImageType, as the allow-list spells them, whose values mean something by themselves."""

MAP_IF_DERIVED_TERMS = frozenset({"T1", "T2", "T2_STAR", "PD", "PERFUSION", "B0", "SUBTRACTION", "SUB", "PROCESSED"})
"""Terms that name a weighting of an original image, but may name a map or a difference of a derived one."""

WEIGHTED_TERMS = frozenset(
    {
        *("M", "M_SE", "M_FFE", "M_IR", "M_TSE", "MAGNITUDE", "SE", "FFE", "IR", "TSE"),
        *("NORM", "ND", "DIS2D", "DIS3D", "DIS2D_3D", "FIL", "SH", "PROPELLER", "GDC"),
        *("REFORMATTED", "MPR", "CSA MPR", "CSAPARALLEL", "CSA RESAMPLED", "CURVED_MPR", "RESAMPLED"),
        *("MIP", "MIN_IP", "MAX_IP", "MNIP", "PROJECTION IMAGE"),
        *("WATER", "FAT", "IN_PHASE", "OPP_PHASE", "OUT_PHASE", "W", "F", "IP", "OP"),
        *("TRACE", "TRACEW", "ISOTROPIC", "CALC_BVALUE", "TOF", "FLAIR", "FLUID_ATTENUATED", "STIR", "SWI"),
        *("COMBINED", "ADAPTIVE_COMBINE", "SUM_SQUARES", "MOCO", "MOCOSERIES"),
    }
)
"""Terms that a derived image may have without being a map."""

_NO_UNIT = frozenset({"", "1", "{no units}", "[arb'U]", "[arb'u]"})
"""UCUM codes of a real-world value map that say that its values have no unit."""


def is_quantitative(planned: PlannedVolume) -> bool:
    """Whether a volume's values are a measurement, a phase or a part of a complex number, or may be for all we know.

    Told from the unit of its scaling, from the cleaned ImageType, and from `derived`: a derived image counts as a map
    unless a term shows that it is a weighted image.
    """
    if (planned.unit or "").strip() not in _NO_UNIT:
        return True
    terms = {term.strip().upper() for term in str(planned.attributes.get("ImageType") or "").split("\\")}
    if terms & QUANTITATIVE_TERMS:
        return True
    if not (planned.derived or "DERIVED" in terms):
        return False
    return bool(terms & MAP_IF_DERIVED_TERMS) or not terms & WEIGHTED_TERMS


def why_not(planned: PlannedVolume, image: Image) -> Why | None:
    """Why a volume is not normalised although its profile asks for it; None if it is.

    A 4-D image is not: whether its repetitions share a field and a scale is a question of what they show.
    """
    if planned.kind != "volume":
        return "not a volume"
    if image.is_colour:
        return "colour"
    if image.is_4d:
        return "more than one repetition"
    return "quantitative map or not a magnitude" if is_quantitative(planned) else None


def normalise(image: Image, methods: Sequence[Method]) -> tuple[Image, tuple[Step, ...]]:
    """A 3-D image after `methods` in their order, float32, and each as a step; the input is left alone.

    Foreground is what is brighter than Otsu's level. An image without foreground, or of one value, stays; N4 leaves
    alone what is one voxel thick.
    """
    steps = []
    for method in methods:
        image, step = _METHODS[method](image)
        steps.append(step)
    return image, tuple(steps)


def n4(image: Image) -> tuple[Image, Step]:
    """`image` divided by its bias field (Tustison et al., N4ITK, IEEE TMI 2010), and the step.

    The field is fitted to the foreground of a thinned grid, then evaluated on the whole one. One thread, fixed
    iterations: the same input gives the same bytes.
    """
    values = _float(image.array)
    level = foreground_level(values)
    shrink = [max(1, min(SHRINK, size // LEAST_THIN)) for size in image.shape]
    thin = values[tuple(slice(step // 2, None, step) for step in shrink)]
    mask = thin > max(level, 0.0)  # the field is one of logarithms
    arguments: dict[str, Any] = {
        "applied": bool(mask.any() and not mask.all() and min(mask.shape) > 1),
        "shrink": shrink,
        "iterations": list(ITERATIONS),
        "convergence": CONVERGENCE,
        "foreground_above": level,
    }
    step = Step(name="n4", arguments=arguments)
    if not step.arguments["applied"]:
        return replace(image, array=values), step
    first = [(s // 2) * mm for s, mm in zip(shrink, image.spacing, strict=True)]
    wide = [s * mm for s, mm in zip(shrink, image.spacing, strict=True)]
    with _one_thread():
        corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
        corrector.SetMaximumNumberOfIterations(list(ITERATIONS))
        corrector.SetConvergenceThreshold(CONVERGENCE)
        corrector.Execute(_itk(thin, wide, first), _itk(mask.astype(np.uint8), wide, first))
        field = corrector.GetLogBiasFieldAsImage(_itk(values, image.spacing, [0.0, 0.0, 0.0]))
    out = np.exp(-SimpleITK.GetArrayViewFromImage(field).T, dtype=np.float32)
    out *= values
    return replace(image, array=out), step


def zscore(image: Image) -> tuple[Image, Step]:
    """`image` less the mean of its foreground, over the foreground's standard deviation (population), and the step."""
    values = _float(image.array)
    level = foreground_level(values)
    inside = values[values > level]
    mean, deviation = (float(f(inside, dtype=np.float64)) if inside.size else 0.0 for f in (np.mean, np.std))
    arguments = {
        "applied": deviation > 0,
        "foreground_above": level,
        "foreground_voxels": int(inside.size),
        "mean": mean,
        "standard_deviation": deviation,
    }
    step = Step(name="zscore", arguments=arguments)
    if deviation == 0:
        return replace(image, array=values), step
    out = values - np.float32(mean)
    out /= np.float32(deviation)
    return replace(image, array=out), step


_METHODS = {"n4": n4, "zscore": zscore}


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for ITK: N4's inner filters add in an order that hangs on their number, whatever N4 itself is told."""
    process = SimpleITK.ProcessObject
    threads = process.GetGlobalDefaultNumberOfThreads()
    process.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        process.SetGlobalDefaultNumberOfThreads(threads)


def _float(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32, copy=False)


def _itk(array: np.ndarray, spacing: Sequence[float], origin: Sequence[float]) -> SimpleITK.Image:
    """The array as an ITK image whose axes are those of the array; directions do not matter to a smooth field."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin([float(o) for o in origin])
    return image
