"""DICOM files for tests; needs pydicom."""

import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

DERMOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.7"
EXPLICIT = "1.2.840.10008.1.2.1"


def write(pixels: bytes, image: np.ndarray, syntax: str = EXPLICIT, **fields) -> bytes:
    """A DICOM file about a patient, with so many rows and columns, and other fields as given."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DERMOSCOPIC
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName = "Doe^Jane"
    dataset.Rows, dataset.Columns = image.shape[:2]
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels
    for name, value in fields.items():
        setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def encode(image: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format=form, **options)
    return encapsulate([file.getvalue()])
