from horm_calc.errors import HormError as HormError
from reactbench_runner.batch import run_batch as run_batch
from reactbench_runner.errors import OtherVersions as OtherVersions
from reactbench_runner.errors import StorageError as StorageError
from reactbench_runner.errors import WorkersLost as WorkersLost
from reactbench_runner.execution.live import Running as Running
from reactbench_runner.inputs.large import open_reactions as open_reactions
from reactbench_runner.inputs.reactions import Unreadable as Unreadable
from reactbench_runner.inputs.reactions import read_reactions as read_reactions
from reactbench_runner.kinetics.results import ReactionKinetics as ReactionKinetics
from reactbench_runner.kinetics.results import stored_kinetics as stored_kinetics
from reactbench_runner.large import Counts as Counts
from reactbench_runner.large import run_large as run_large
from reactbench_runner.results import Profile as Profile
from reactbench_runner.results import ReactionResult as ReactionResult
from reactbench_runner.results import Run as Run
from reactbench_runner.results import load_run as load_run
from reactbench_runner.storage.database import DamagedDatabase as DamagedDatabase
from reactbench_runner.storage.database import DatabaseError as DatabaseError
from workflows.errors import InputError as InputError

__version__: str
