"""Annotations in memory: what SEG, RTSTRUCT, RTDOSE, SR, parametric maps and delivered label maps say.

Belongs here: reading one annotation object, placing it on a grid, and the records that hold the outcome. Does not
belong here: de-identification (`oncurate.deid`; every record here is identified until its names are cleaned), writing
files, and finding the image of an annotation among all images.
"""
