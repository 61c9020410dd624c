"""Hosts of Ingresses to Secrets with certificates of an internal authority.

Reads:  Ingress, IngressClass, Secret.
Writes: Secrets of type kubernetes.io/tls that it made itself, Events; the authority, as files or as a Secret.
Loop:   keyed, by Secret.
Flow:   Ingresses → order → plan → controller (signs, writes).
"""

from fairway.certificates.config import Config as Config
from fairway.certificates.controller import run as run
