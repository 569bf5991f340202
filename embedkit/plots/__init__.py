"""Pictures and the interactive page: functions that give back a figure and never show one."""
