"""Where our volumes differ from dcm2niix's, and why: every difference is listed, and every listed one must occur.

Belongs here: the table, keyed by the end of the series UID and the name of dcm2niix's output. Verdicts are explained in
`tests/golden/test_dcm2niix.py`.
"""

from __future__ import annotations

_CANONICAL = "dcm2niix rotates 3-D acquisitions to the nearest patient axes; we keep the acquired axes"
_PHILIPS = "dcm2niix applies Philips' private scale slope by default; we apply the standard rescale (DV = SV RS + RI)"
_FLOAT = "per-slice rescale: float32 values agree within rounding, so their digests do not"
_MOSAIC = "slices tiled into one image: refused, not untiled"
_CAPTURE = "secondary capture: never acquired data"

DIFFERENCES: dict[tuple[str, str], tuple[str, str]] = {
    ("227417197937", "2_.nii"): ("absent: missing_slices", "one slice missing: dcm2niix warns and goes on"),
    ("227417197937", "2__Eq_1.nii"): ("absent: missing_slices", "dcm2niix interpolates; we never fabricate slices"),
    ("298243974030", "4_.nii"): ("reoriented", _CANONICAL),
    ("298244257421", "4_.nii"): ("reoriented", _CANONICAL),
    ("298250232554", "4_.nii"): ("reoriented", _CANONICAL),
    ("147842713415", "5_.nii"): ("reoriented", _CANONICAL),
    ("310972975451", "10_.nii"): ("reoriented", _CANONICAL),
    ("729824825182", "301_.nii"): ("reoriented, other scale", f"{_CANONICAL}; {_PHILIPS}"),
    ("298248316927", "501_.nii"): ("reordered, other scale", f"b=0 comes last there; {_PHILIPS}"),
    ("615250908935", "801_B0_NS_e1.nii"): ("reoriented, other scale", f"{_CANONICAL}; {_PHILIPS}"),
    ("615250908935", "801_B0_NS_e2_fieldmaphz.nii"): ("reoriented", _CANONICAL),
    ("326015805567", "201_.nii"): ("float rounding", _FLOAT),
    ("888330051583", "1_PET_AC.nii"): ("float rounding", _FLOAT),
    ("965832847537", "1_IBSI_1_STS_025_PET_image.nii"): ("float rounding", _FLOAT),
    ("776959515224", "747197466_T1_WM_AX.nii"): ("absent: secondary_capture", _CAPTURE),
    ("150714813892", "2_.nii"): ("absent: gantry_tilt", "4 and 7 mm slices, all of them tilted"),
    ("150714813892", "2__Tilt_Eq_1.nii"): ("absent: gantry_tilt", "dcm2niix resamples; we quarantine"),
    ("151607525240", "100_.nii"): ("absent: localizer", "a scout"),
    ("503286111321", "200_Exam_Summary.nii"): ("absent: secondary_capture", _CAPTURE),
    ("503286111321", "401_Exam_Summary.nii"): ("absent: secondary_capture", _CAPTURE),
    ("503286111321", "401_Exam_Summary_ROI1.nii"): ("absent: secondary_capture", _CAPTURE),
    ("503286111321", "401_Exam_Summarya.nii"): ("absent: secondary_capture", _CAPTURE),
    ("503286111321", "401_Exam_Summaryb.nii"): ("absent: secondary_capture", _CAPTURE),
    ("105837.0.0.0", "4_me_fMRI_e1.nii"): ("absent: mosaic", _MOSAIC),
    ("105837.0.0.0", "4_me_fMRI_e2.nii"): ("absent: mosaic", _MOSAIC),
    ("890422.0.0.0", "3_EPI_PE=AP.nii"): ("absent: mosaic", _MOSAIC),
    ("190492.0.0.0", "4_EPI_PE=PA.nii"): ("absent: mosaic", _MOSAIC),
    ("290597.0.0.0", "5_EPI_PE=RL.nii"): ("absent: mosaic", _MOSAIC),
    ("090667.0.0.0", "6_EPI_PE=LR.nii"): ("absent: mosaic", _MOSAIC),
    ("56.3.12348.5", "12_dti_tra_dir16_PA_rot_SaveBySlc.nii"): ("absent: mosaic", _MOSAIC),
    ("51.28319.0.2", "2_Routine_Brain.nii"): ("absent: missing_slices", "4 slices left of a head scan"),
    ("51.28319.0.2", "2_Routine_Brain_Eq_1.nii"): ("absent: missing_slices", "dcm2niix interpolates"),
    ("992152438492", "301_.nii"): (
        "absent: multiframe_not_a_volume, same_pixels, truncated_pixel_data",
        "five encodings of one file whose frames have no position; dcm2niix stacks them by frame number",
    ),
}
