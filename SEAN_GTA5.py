"""Adapt from GTA-5 to Cityscapes, 19 classes (the paper's first experiment).

    python SEAN_GTA5.py --data_dir_source data/GTA5 --data_dir_target data/Cityscapes
    python SEAN_GTA5.py --demo      # no data needed

One iteration is in utils/training/train_step.py: train_step; the network in model/SEAN.py: SEANet.
"""

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.gta5_dataset import GTA5Dataset
from utils.options import TrainingConfig
from utils.training.loop import Experiment, main

EXPERIMENT = Experiment(
    prefix="GTA",
    source=GTA5Dataset,
    target=CityscapesDataset,
    defaults=TrainingConfig(
        data_dir_source="data/GTA5",
        data_dir_target="data/Cityscapes",
        num_classes=19,
        attention_threshold=0.1,
        target_entries=24966,
    ),
    demo_source="gta5",
)

if __name__ == "__main__":
    main(EXPERIMENT, "Train SEAN on GTA-5, adapt it to Cityscapes: 19 classes.")
