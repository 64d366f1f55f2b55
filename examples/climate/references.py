"""Published figures that are shown beside the computed ones, and the works cited."""

from __future__ import annotations

COUNTERPARTS: dict[str, dict[str, str]] = {
    "temperature-trend-1951-2012": {
        "text": "0.12 (0.08 to 0.14, 90 %) °C per decade, from earlier data sets than this one",
        "source": "IPCC 2013, AR5 WGI, Summary for Policymakers, section B.1",
    },
    "warming": {
        "text": "1.09 (0.95 to 1.20, very likely) °C, assessed from several data sets; this data set, for 2020 alone: "
        "1.28 ± 0.08 °C",
        "source": "IPCC 2021, AR6 WGI, Summary for Policymakers, A.1.2; Met Office, 14 January 2021",
    },
    "co2-growth-ols": {
        "text": "1.42 ± 0.02 ppm per year, but in 1974-1985",
        "source": "Thoning, Tans & Komhyr 1989",
    },
    "seasonal-growth-2001": {
        "text": "0.05 ± 0.02 ppm per year, but in 1974-1985",
        "source": "Thoning, Tans & Komhyr 1989",
    },
    "co2-growth-1960s": {"text": "about 0.8 ppm per year", "source": "NOAA, June 2020 (Tans)"},
    "co2-growth-1980s": {"text": "about 1.6 ppm per year", "source": "NOAA, June 2020 (Tans)"},
    "co2-growth-1990s": {"text": "about 1.5 ppm per year", "source": "NOAA, June 2020 (Tans)"},
    "seasonal-growth-1982": {
        "text": "about 0.7 % per year (standard error 0.09), 1958-1982",
        "source": "Bacastow, Keeling & Whorf 1985",
    },
}

WORKS: tuple[str, ...] = (
    "Bacastow, R.B., C.D. Keeling and T.P. Whorf, 1985: Seasonal amplitude increase in atmospheric CO2 "
    "concentration at Mauna Loa, Hawaii, 1959-1982. J. Geophys. Res., 90(D6), 10529-10540.",
    "Carlstein, E., 1986: The use of subseries values for estimating the variance of a general statistic from a "
    "stationary sequence. Ann. Stat., 14, 1171-1179, doi:10.1214/aos/1176350057.",
    "Durbin, J. and G.S. Watson, 1950: Testing for serial correlation in least squares regression: I. Biometrika, 37, "
    "409-428, doi:10.1093/biomet/37.3-4.409.",
    "Hamed, K.H. and A.R. Rao, 1998: A modified Mann-Kendall trend test for autocorrelated data. J. Hydrol., 204, "
    "182-196, doi:10.1016/S0022-1694(97)00125-X.",
    "IPCC, 2013: Climate Change 2013: The Physical Science Basis. Working Group I, Fifth Assessment Report.",
    "IPCC, 2021: Climate Change 2021: The Physical Science Basis. Working Group I, Sixth Assessment Report.",
    "Keeling, C.D. and T.P. Whorf, 2004: Atmospheric CO2 concentrations derived from flask air samples at sites "
    "in the SIO network. CDIAC, Oak Ridge National Laboratory.",
    "Kendall, M.G., 1975: Rank Correlation Methods. 4th edition, Griffin, London.",
    "Kennedy, P. and D. Simons, 1991: Fighting the teflon factor: comparing classical and Bayesian estimators for "
    "autocorrelated errors. J. Econometrics, 48, 15-27.",
    "Künsch, H.R., 1989: The jackknife and the bootstrap for general stationary observations. Ann. Stat., 17, "
    "1217-1241, doi:10.1214/aos/1176347265.",
    "Mann, H.B., 1945: Nonparametric tests against trend. Econometrica, 13, 245-259, doi:10.2307/1907187.",
    "Met Office, 14 January 2021: 2020 ends Earth's warmest 10 years on record. Press release, with the University of "
    "East Anglia.",
    "Morice, C.P., J.J. Kennedy, N.A. Rayner et al., 2021: An updated assessment of near-surface temperature "
    "change from 1850: the HadCRUT5 data set. J. Geophys. Res. Atmos., 126, e2019JD032361, doi:10.1029/2019JD032361.",
    "Newey, W.K. and K.D. West, 1987: A simple, positive semi-definite, heteroskedasticity and autocorrelation "
    "consistent covariance matrix. Econometrica, 55, 703-708, doi:10.2307/1913610.",
    "Newey, W.K. and K.D. West, 1994: Automatic lag selection in covariance matrix estimation. Rev. Econ. Stud., 61, "
    "631-653, doi:10.2307/2297912.",
    "Santer, B.D. et al., 2008: Consistency of modelled and observed temperature trends in the tropical troposphere. "
    "Int. J. Climatol., 28, 1703-1722, doi:10.1002/joc.1756.",
    "Sen, P.K., 1968: Estimates of the regression coefficient based on Kendall's tau. J. Am. Stat. Assoc., 63, "
    "1379-1389, doi:10.1080/01621459.1968.10480934.",
    "Theil, H., 1950: A rank-invariant method of linear and polynomial regression analysis. Proc. Koninklijke "
    "Nederlandse Akademie van Wetenschappen A, 53, 386-392, 521-525, 1397-1412.",
    "Thoning, K.W., P.P. Tans and W.D. Komhyr, 1989: Atmospheric carbon dioxide at Mauna Loa Observatory: 2. Analysis "
    "of the NOAA GMCC data, 1974-1985. J. Geophys. Res., 94(D6), 8549-8565, doi:10.1029/JD094iD06p08549.",
)
