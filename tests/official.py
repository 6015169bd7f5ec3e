"""Small files in the official layouts of published data sets, made up line by line."""

from __future__ import annotations

import gzip
from pathlib import Path

from amtl.sources.published.movielens import GENRES

Files = dict[str, list[str]]


def _item(number: int, title: str, released: str, *genres: str) -> str:
    flags = ["1" if genre in genres else "0" for genre in GENRES]
    return "|".join([str(number), title, released, "", f"http://example.org/{number}", *flags])


MOVIELENS_100K: Files = {
    "u.data": ["1\t10\t4\t86399", "2\t10\t3\t86400", "1\t20\t5\t86400", "2\t20\t1\t3000"],
    "u.user": ["1|24|M|technician|85711", "2|53|F|other|94043"],
    "u.item": [_item(10, "Café Stories (1995)", "01-Jan-1995", "Comedy", "Drama"), _item(20, "unknown", "", "unknown")],
}
MOVIELENS_1M: Files = {
    "ratings.dat": ["1::10::4::86399", "2::10::3::86400", "1::20::5::86400", "2::20::1::3000"],
    "users.dat": ["1::F::1::10::48067", "2::M::56::16::70072-1234"],
    "movies.dat": ["10::Café: Stories (1995)::Comedy|Drama", "20::Untold::Film-Noir"],
}
_CONTEXT = "5041:1 5046:1 5053:1 5055:1 5058:1 5060:1 5073:1 5183:1"
FRAPPE: Files = {
    "frappe.train.libfm": [f"1 0:1 957:1 {_CONTEXT}", f"-1 956:1 5038:1 {_CONTEXT}", f"-1 3:1 1000:1 {_CONTEXT}"],
    "frappe.validation.libfm": [f"-1 2:1 958:1 {_CONTEXT}"],
    "frappe.test.libfm": [f"1 2:1 959:1 {_CONTEXT[:-6]}5381:1"],
}
_NUMBERS = ["1", "-2", *["7"] * 11]
_VALUES = [f"{number:08x}" for number in range(26)]
CRITEO: Files = {
    "train.txt": [
        "\t".join(["0", *_NUMBERS, *_VALUES]),
        "\t".join(["1", *[""] * 13, *[""] * 26]),
        "\t".join(["0", *_NUMBERS[:12], "", *_VALUES[:25], ""]),
    ]
}
CRITEO_TERABYTE: Files = {"day_0": CRITEO["train.txt"], "day_1": CRITEO["train.txt"][:2]}
_AVAZU_HEADER = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,device_id,device_ip,"
    "device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
)
_AVAZU_REST = "1005,0,1fbe01fe,f3845767,28905ebd,ecad2386,7801e8d9,07d7df22,a99f214a,ddd2926e,44956a24,1,2,15706,320,50,1722,0,35,-1,79"
AVAZU: Files = {
    "train.csv": [
        _AVAZU_HEADER,
        f"1000009418151094273,0,14102100,{_AVAZU_REST}",
        f"10000169349117863715,1,14102123,{_AVAZU_REST}",
        f"10000371904215119486,1,14102200,{_AVAZU_REST}",
        f"10000640724480838376,0,14102201,{_AVAZU_REST}",
    ]
}
_IJCAI18_HEADER = (
    "instance_id item_id item_category_list item_property_list item_brand_id item_city_id item_price_level item_sales_level "
    "item_collected_level item_pv_level user_id user_gender_id user_age_level user_occupation_id user_star_level context_id "
    "context_timestamp context_page_id predict_category_property shop_id shop_review_num_level shop_review_positive_rate "
    "shop_star_level shop_score_service shop_score_delivery shop_score_description is_trade"
)


def _click(
    time: int, label: int, brand: str = "1975590437749032870", predicted: str = "70:21,22;80:-1;90:23", properties: str = "1;2;3"
) -> str:
    item = f"3412720377098676069 70;80 {properties} {brand} 3948283326616421003 3 3 4 14"
    user = "4505772604969228686 1 1003 2005 3006"
    return (
        f"108641074714126964 {item} {user} 282924576738839389 {time} 4006 {predicted} 6765930309048922341 4 1.0 5002 1.0 1.0 0.97 {label}"
    )


IJCAI18: Files = {
    "round1_ijcai_18_train_20180301.txt": [
        _IJCAI18_HEADER,
        _click(1537200000, 0),
        _click(1537200001, 1, brand="-1"),
        _click(1537199999, 0, predicted="-1"),
        _click(1537199998, 1, properties="-1"),
    ]
}
"""Around midnight in Beijing (1537200000 is 16:00 UTC, or 2018-09-18 00:00 there)."""
TAOBAO: Files = {
    "raw_sample.csv": [
        "user,time_stamp,adgroup_id,pid,nonclk,clk",
        "581738,1494032110,1,430548_1007,1,0",
        "449818,1494032110,3,430548_1007,0,1",
        "914836,1494086400,4,430539_1007,0,1",
        "581738,1494086400,2,430539_1007,1,0",
    ],
    "ad_feature.csv": [
        "adgroup_id,cate_id,campaign_id,customer,brand,price",
        "1,6406,83237,1,95471,170.0",
        "2,6406,83237,1,95471,199.0",
        "3,6406,83237,1,NULL,38.0",
    ],
    "user_profile.csv": [
        "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,new_user_class_level ",
        "581738,0,5,2,5,1,3,0,3",
        "449818,5,2,2,2,,3,1,",
    ],
}
ALL: dict[str, Files] = {
    "movielens-100k": MOVIELENS_100K,
    "movielens-1m": MOVIELENS_1M,
    "frappe": FRAPPE,
    "criteo": CRITEO,
    "criteo-terabyte": CRITEO_TERABYTE,
    "avazu": AVAZU,
    "ijcai-18": IJCAI18,
    "taobao-ads": TAOBAO,
}
"""What each name of `amtl.sources.published.registry` reads."""


def write(folder: Path, files: Files, changes: dict[str, list[str] | None] | None = None) -> Path:
    """Write files into a new folder, `.gz` compressed; latin-1 encodes MovieLens as published, and is the same for the others.

    Args:
        folder: made here.
        files: lines by file name.
        changes: other lines for a file, or None to leave it out.
    """
    folder.mkdir(parents=True)
    for name, lines in {**files, **(changes or {})}.items():
        if lines is not None:
            content = "".join(f"{line}\n" for line in lines).encode("latin-1")
            (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder
