"""Day-ahead forecasts of an hourly table of three stations, by contenders of other libraries and ours, on one split."""
