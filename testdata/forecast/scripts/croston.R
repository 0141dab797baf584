# croston.json: Croston's method of R forecast on an intermittent series. Run from the folder above: Rscript scripts/croston.R
suppressMessages(library(forecast)); library(jsonlite)
y <- pmax(as.numeric(lynx) - 2500, 0)
cases <- lapply(c(0.1, 0.3), function(alpha) {
  f <- croston(ts(y), h = 5, alpha = alpha)
  list(alpha = alpha, size = as.numeric(f$model$demand$mean[1]), gap = as.numeric(f$model$period$mean[1]),
       mean = as.numeric(f$mean), fitted = as.numeric(f$fitted))
})
write_json(list(program = list(R = "4.2.2", forecast = as.character(packageVersion("forecast")), debian = "r-cran-forecast 8.20-1"),
  source = "R datasets::lynx, pmax(y - 2500, 0)", call = "croston(ts(y), h = 5, alpha = alpha)", y = y, cases = cases),
  "croston.json", digits = 12, auto_unbox = TRUE, na = "null")
