"""Arker VMs as what frameworks call a sandbox, a workspace or a filesystem: one module for each framework.

Nothing else imports them, and each needs its framework; the extras of the distribution bring it.
"""
