from brainage_bids.api import BrainAge as BrainAge
from brainage_bids.api import Segmented as Segmented
from brainage_bids.api import predict as predict
from brainage_bids.api import read_cohort as read_cohort
from brainage_bids.api import segment as segment
from brainage_bids.models import load_model as load_model
from brainage_bids.records import FLAGS as FLAGS
from brainage_bids.records import BadConfiguration as BadConfiguration
from brainage_bids.records import BadDataset as BadDataset
from brainage_bids.records import UnusableInput as UnusableInput

__version__: str
