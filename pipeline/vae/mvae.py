"""mvae"""
