"""Adapt from SYNTHIA to Cityscapes, 16 classes (the paper's second experiment).

    python SEAN_Synthia.py --data_dir_source data/RAND_CITYSCAPES --data_dir_target data/Cityscapes
    python SEAN_Synthia.py --demo      # no data needed

One iteration is in utils/training/train_step.py: train_step; the network in model/SEAN.py: SEANet.
"""

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.synthia_dataset import SynthiaDataset
from utils.options import TrainingConfig
from utils.training.loop import Experiment, main

EXPERIMENT = Experiment(
    prefix="Synthia",
    source=SynthiaDataset,
    target=Cityscapes16Dataset,
    defaults=TrainingConfig(
        data_dir_source="data/SYNTHIA",
        data_dir_target="data/Cityscapes",
        num_classes=16,
        attention_threshold=0.3,
        target_entries=9400,
    ),
    demo_source="synthia",
)

if __name__ == "__main__":
    main(EXPERIMENT, "Train SEAN on SYNTHIA, adapt it to Cityscapes: 16 classes.")
