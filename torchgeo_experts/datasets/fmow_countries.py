# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Countries of FMoW: codes that are none, and regions."""

import numpy as np

#: Name of the region of codes that have none.
OTHER = 'Other'

#: Regions of the United Nations (M49), in the order in which they first appear in the
#: table of WILDS.
REGIONS = ('Asia', 'Europe', 'Africa', 'Americas', 'Oceania', OTHER)

#: Countries of each region, ISO 3166-1 alpha-3: the standard "Country or Area Codes for
#: Statistical Use" (M49) of the United Nations, and Taiwan with Asia as in the ISO
#: tables made from it. Antarctica has no region.
_COUNTRIES = {
    'Asia': (
        'AFG ARE ARM AZE BGD BHR BRN BTN CHN CYP GEO HKG IDN IND IRN IRQ ISR JOR JPN '
        'KAZ KGZ KHM KOR KWT LAO LBN LKA MAC MDV MMR MNG MYS NPL OMN PAK PHL PRK PSE '
        'QAT SAU SGP SYR THA TJK TKM TLS TUR TWN UZB VNM YEM'
    ),
    'Europe': (
        'ALA ALB AND AUT BEL BGR BIH BLR CHE CZE DEU DNK ESP EST FIN FRA FRO GBR GGY '
        'GIB GRC HRV HUN IMN IRL ISL ITA JEY LIE LTU LUX LVA MCO MDA MKD MLT MNE NLD '
        'NOR POL PRT ROU RUS SJM SMR SRB SVK SVN SWE UKR VAT'
    ),
    'Africa': (
        'AGO ATF BDI BEN BFA BWA CAF CIV CMR COD COG COM CPV DJI DZA EGY ERI ESH ETH '
        'GAB GHA GIN GMB GNB GNQ IOT KEN LBR LBY LSO MAR MDG MLI MOZ MRT MUS MWI MYT '
        'NAM NER NGA REU RWA SDN SEN SHN SLE SOM SSD STP SWZ SYC TCD TGO TUN TZA UGA '
        'ZAF ZMB ZWE'
    ),
    'Americas': (
        'ABW AIA ARG ATG BES BHS BLM BLZ BMU BOL BRA BRB BVT CAN CHL COL CRI CUB CUW '
        'CYM DMA DOM ECU FLK GLP GRD GRL GTM GUF GUY HND HTI JAM KNA LCA MAF MEX MSR '
        'MTQ NIC PAN PER PRI PRY SGS SLV SPM SUR SXM TCA TTO URY USA VCT VEN VGB VIR'
    ),
    'Oceania': (
        'ASM AUS CCK COK CXR FJI FSM GUM HMD KIR MHL MNP NCL NFK NIU NRU NZL PCN PLW '
        'PNG PYF SLB TKL TON TUV UMI VUT WLF WSM'
    ),
}
_REGION_OF = {code: name for name, text in _COUNTRIES.items() for code in text.split()}

#: Codes of FMoW that ISO 3166-1 does not have, see
#: https://github.com/fMoW/dataset/issues/13. Kosovo has none of its own, XKX is in common
#: use.
KOSOVO, CASPIAN = 'KO-', 'CA-'

#: The land border between Azerbaijan (south) and Russia, from west to east, in degrees,
#: good to about 10 km. It meets the Caspian Sea at the mouth of the Samur.
_BORDER_LON = (46.40, 46.69, 47.37, 47.82, 47.99, 48.58)
_BORDER_LAT = (41.86, 41.83, 41.22, 41.15, 41.41, 41.81)


def region_of(code: str) -> str:
    """Tell the region of a country.

    Args:
        code: Code as FMoW writes it. Like WILDS, this knows nothing of the codes that
            are none: their region is 'Other'.

    Returns:
        One of :data:`REGIONS`.
    """
    return _REGION_OF.get(code, OTHER)


def repaired(codes: np.ndarray, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Replace codes that are no country by those of the country.

    ``KO-`` becomes XKX. ``CA-``, around the Caspian Sea, becomes RUS north of the border
    with Azerbaijan and AZE south of it; it stays where the place is not known.

    Args:
        codes: Codes as FMoW writes them, text, shape (N,).
        lon: Longitudes in degrees, shape (N,), NaN where unknown.
        lat: Latitudes in degrees, shape (N,), NaN where unknown.

    Returns:
        Codes, text, shape (N,).
    """
    found = np.where(codes == KOSOVO, 'XKX', codes)
    caspian = (codes == CASPIAN) & ~np.isnan(lat)
    north = lat > np.interp(lon, _BORDER_LON, _BORDER_LAT)
    found[caspian & north] = 'RUS'
    found[caspian & ~north] = 'AZE'
    return found
