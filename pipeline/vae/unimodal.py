"""unimodal"""
