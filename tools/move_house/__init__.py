"""The move into the second house; removed by the commit that makes it."""
