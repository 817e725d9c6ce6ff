"""mopoe"""
