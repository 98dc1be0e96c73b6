ODD = 0
CHECKS = {}
