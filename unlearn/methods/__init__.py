"""The methods: one algorithm a file, each registered where it is defined.

`METHODS` maps a name to its `MethodInfo`; `README.md` here says how to add one.
"""
# ruff: noqa: F401  (the methods are re-exported)

from unlearn.methods.amnesiac_relabel import amnesiac_relabel
from unlearn.methods.amun import amun
from unlearn.methods.bad_teacher import bad_teacher
from unlearn.methods.boundary_expand import boundary_expand
from unlearn.methods.boundary_shrink import boundary_shrink
from unlearn.methods.cf_k import cf_k
from unlearn.methods.class_swap import class_swap
from unlearn.methods.conv_transpose import conv_transpose
from unlearn.methods.curriculum_distill import curriculum_distill
from unlearn.methods.datamodel_matching import datamodel_matching
from unlearn.methods.delete import delete
from unlearn.methods.duck import duck
from unlearn.methods.emmn import emmn
from unlearn.methods.eu_k import eu_k
from unlearn.methods.finetune import finetune
from unlearn.methods.fisher_forgetting import fisher_forgetting
from unlearn.methods.gkt import gkt
from unlearn.methods.gradient_ascent import gradient_ascent
from unlearn.methods.influence import influence
from unlearn.methods.kl_contrastive import kl_contrastive
from unlearn.methods.kl_uniform import kl_uniform
from unlearn.methods.l1_sparse import l1_sparse
from unlearn.methods.layer_noise import layer_noise
from unlearn.methods.lfssd import lfssd
from unlearn.methods.lipschitz import lipschitz
from unlearn.methods.lotus import lotus
from unlearn.methods.masked_small_gradients import masked_small_gradients
from unlearn.methods.mu_mis import mu_mis
from unlearn.methods.munba import munba
from unlearn.methods.neggrad_plus import neggrad_plus
from unlearn.methods.newton_head import newton_head
from unlearn.methods.noise_reset import noise_reset
from unlearn.methods.noisy_finetune import noisy_finetune
from unlearn.methods.noisy_rewind import noisy_rewind
from unlearn.methods.ntk_scrub import ntk_scrub
from unlearn.methods.prune_finetune import prune_finetune
from unlearn.methods.prune_reinit_entropy import prune_reinit_entropy
from unlearn.methods.random_labels import random_labels
from unlearn.methods.registry import METHODS, MethodInfo, ascends, certificate, method
from unlearn.methods.regun import regun
from unlearn.methods.reset_head_distill import reset_head_distill
from unlearn.methods.retrain import retrain
from unlearn.methods.retrain_short import retrain_short
from unlearn.methods.rewind import rewind
from unlearn.methods.rum import rum
from unlearn.methods.salun import salun
from unlearn.methods.scar import scar
from unlearn.methods.scrub import scrub
from unlearn.methods.sfron import sfron
from unlearn.methods.ssd import ssd
from unlearn.methods.trew import trew
from unlearn.methods.undo import undo
from unlearn.methods.unsir import unsir
from unlearn.methods.weight_distortion import weight_distortion
from unlearn.methods.weight_negation import weight_negation

__all__ = ["METHODS", "MethodInfo", "ascends", "certificate", "method", *METHODS]
