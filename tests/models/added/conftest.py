from tests.support.tiny_pipelines import tiny_folder

__all__ = ["tiny_folder"]
